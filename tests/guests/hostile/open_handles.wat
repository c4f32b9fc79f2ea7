;; Creates handles of its own resource in an endless loop.
(import "own" "new" (func $new (param i32) (result i32)))
(func (export "resolve") (param i32) (result i32)
  (loop $more (drop (call $new (i32.const 7))) (br $more))
  unreachable)
