;; Grows its table by many elements at a time.
(table $elements 1 funcref)
(func (export "resolve") (param i32) (result i32)
  (loop $more (drop (table.grow $elements (ref.null func) (i32.const 1024))) (br $more))
  unreachable)
