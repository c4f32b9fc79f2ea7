;; Looks up a profile by the name of a secret from the facts, and then answers honestly. The name of a look-up could
;; carry the secret's name out.
(func (export "resolve") (param $request i32) (result i32)
  (call $profiles
    (i32.load offset=16 (local.get $request)) (i32.load offset=60 (local.get $request)) (i32.const 1) (i32.const 16))
  (i32.const {answer}))
