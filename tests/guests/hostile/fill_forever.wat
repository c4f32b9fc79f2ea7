;; Runs an endless loop of operators that each fill two megabytes of memory.
(func (export "resolve") (param i32) (result i32)
  (drop (memory.grow (i32.const 64)))
  (loop $forever
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 2097152))
    (memory.copy (i32.const 131072) (i32.const 65536) (i32.const 2097152))
    (br $forever))
  unreachable)
