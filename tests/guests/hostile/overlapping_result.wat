;; Returns a list in which every element is the same text: small in the guest, large in the host.
(func (export "resolve") (param i32) (result i32)
  (local $at i32)
  (drop (memory.grow (i32.const 128)))
  (local.set $at (i32.const 262144))
  (loop $elements
    (i32.store (local.get $at) (i32.const 1024))
    (i32.store offset=4 (local.get $at) (i32.const {each}))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $elements (i32.lt_u (local.get $at) (i32.const {end}))))
  ;; The lineage.
  (i32.store (i32.const 516) (i32.const 262144))
  (i32.store (i32.const 520) (i32.const {count}))
  (i32.const 512))
