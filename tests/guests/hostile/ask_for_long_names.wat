;; Looks up a different name of 64 KiB each time: a gigabyte that the host would keep within the limit of look-ups.
(func (export "resolve") (param $request i32) (result i32)
  (local $count i32)
  (drop (memory.grow (i32.const 8)))
  (i32.store (i32.const 262144) (i32.const 262152))
  (i32.store (i32.const 262148) (i32.const 65536))
  (loop $names
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (i32.store8 (i32.const 262152) (i32.and (local.get $count) (i32.const 127)))
    (i32.store8 (i32.const 262153) (i32.and (i32.shr_u (local.get $count) (i32.const 7)) (i32.const 127)))
    (call $profiles
      (i32.load offset=16 (local.get $request)) (i32.const 262144) (i32.const 1) (i32.const 16))
    (br $names))
  unreachable)
