;; Grows several memories that are each below the limit and together above it.
(core module $large
  (memory 500)
  (func $start (drop (memory.grow (i32.const 100))))
  (start $start))
(core instance (instantiate $large))
(core instance (instantiate $large))
