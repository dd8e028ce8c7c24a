;; case: 10
;; does: answers with 4,000 tensors that all have the same 32 MiB of data
;; when: predict
;; sandbox: memory_mb = 64
;; expect: 502 plugin_trapped
;; within_ms: 20000

(memory {memory} 520)
(func {before}
    (local $at i32)
    (loop
        ;; Of each: the place and length of its data, 20 and 24 bytes in; names and shapes are empty.
        (i32.store offset=2020 (local.get $at) (i32.const 262144))
        (i32.store offset=2024 (local.get $at) (i32.const 33554432))
        (local.set $at (i32.add (local.get $at) (i32.const 28)))
        (br_if 0 (i32.lt_u (local.get $at) (i32.const 112000))))
    (i32.store8 (i32.const 308) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 2000))
    (i32.store (i32.const 316) (i32.const 4000))
    (i32.const 300))
