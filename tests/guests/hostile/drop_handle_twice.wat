;; Drops its handle twice.
(func (export "resolve") (param $request i32) (result i32)
  (call $drop (i32.load offset=16 (local.get $request)))
  (call $drop (i32.load offset=16 (local.get $request)))
  unreachable)
