;; Asks the bundle for a profile by the name of a secret that the facts told it, and answers as an honest resolver does:
;; what was asked for could carry the name out.
(func (export "resolve") (param $request i32) (result i32)
  (call $profiles
    (i32.load offset=16 (local.get $request)) (i32.load offset=60 (local.get $request)) (i32.const 1) (i32.const 16))
  (i32.const {answer}))
