;; Answers and keeps its handle. It dies with the instance.
(func (export "resolve") (param i32) (result i32) (i32.const {answer}))
