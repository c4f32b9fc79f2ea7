;; Uses a handle that it does not own.
(func (export "resolve") (param $request i32) (result i32)
  (call $profiles
    (i32.add (i32.load offset=16 (local.get $request)) (i32.const {beyond}))
    (local.get $request) (i32.const 1) (i32.const 16))
  unreachable)
