;; Contains two components with separate memories, one of which passes a text to the other. The engine copies it with
;; generated code that accesses both memories.
(component $callee
  (core module $m
    (memory (export "memory") 1)
    (func (export "take") (param i32 i32))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16)))
  (core instance $i (instantiate $m))
  (func (export "take") (param "text" string)
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
(component $caller
  (import "take" (func $take (param "text" string)))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16)))
  (core instance $i (instantiate $memory))
  (core func $lowered
    (canon lower (func $take) (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (core module $m
    (import "host" "take" (func $take (param i32 i32)))
    (func $start (call $take (i32.const 0) (i32.const 9)))
    (start $start))
  (core instance (instantiate $m (with "host" (instance (export "take" (func $lowered)))))))
(instance $callee (instantiate $callee))
(instance (instantiate $caller (with "take" (func $callee "take"))))
