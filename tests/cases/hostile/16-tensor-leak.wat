;; case: 16
;; does: makes a million tensors and keeps them
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func $make (param i32 i32 i32 i32 i32) (result i32)))
(func {predict}
    (local $left i32)
    (local.set $left (i32.const 1000000))
    (loop
        (drop (call $make (i32.const 2000) (i32.const 1) (i32.const 4) (i32.const 400) (i32.const 1)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if 0 (local.get $left)))
    (loop br 0)
    unreachable)
