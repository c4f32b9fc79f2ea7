;; Requests the selected profile 16,000 times in one call. The guest stores all copies at the same address, but the host
;; has to copy each of them.
(func (export "resolve") (param $request i32) (result i32)
  (local $at i32)
  (drop (memory.grow (i32.const 8)))
  (local.set $at (i32.const 262144))
  (loop $names
    (i32.store (local.get $at) (i32.load (local.get $request)))
    (i32.store offset=4 (local.get $at) (i32.load offset=4 (local.get $request)))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $names (i32.lt_u (local.get $at) (i32.const 390144))))
  (call $profiles
    (i32.load offset=16 (local.get $request)) (i32.const 262144) (i32.const 16000) (i32.const 16))
  unreachable)
