;; Loops endlessly in its start function.
(func $start (loop $forever (br $forever)))
(start $start)
(func (export "resolve") (param i32) (result i32) unreachable)
