;; Returns an answer, and then loops endlessly in post-return.
(func (export "resolve") (param i32) (result i32) (i32.const {answer}))
(func (export "post") (param i32) (loop $forever (br $forever)))
