;; case: 16
;; does: makes tensors of a mebibyte until there is no room for one
;; world: predictor
;; when: predict
;; sandbox: memory_mb = 32
;; expect: 502 plugin_out_of_memory
;; within_ms: 20000

(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func $make (param i32 i32 i32 i32 i32) (result i32)))
(memory {memory} 20)
(func {predict}
    (loop
        (drop (call $make (i32.const 2000) (i32.const 1) (i32.const 4) (i32.const 0) (i32.const 1048576)))
        (br 0))
    unreachable)
