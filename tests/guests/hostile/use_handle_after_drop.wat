;; Uses its handle after dropping it.
(func (export "resolve") (param $request i32) (result i32)
  (call $drop (i32.load offset=16 (local.get $request)))
  (call $profiles (i32.load offset=16 (local.get $request)) (local.get $request) (i32.const 1) (i32.const 16))
  unreachable)
