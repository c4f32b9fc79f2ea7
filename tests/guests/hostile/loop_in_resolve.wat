;; Loops endlessly in `resolve`.
(func (export "resolve") (param i32) (result i32)
  (loop $forever (br $forever))
  unreachable)
