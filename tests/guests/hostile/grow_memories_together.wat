;; Memories that each stay below what one may have, and pass it together.
(core module $large
  (memory 500)
  (func $start (drop (memory.grow (i32.const 100))))
  (start $start))
(core instance (instantiate $large))
(core instance (instantiate $large))
