;; case: 10
;; does: answers with two million tensors without anything in them
;; when: predict
;; sandbox: memory_mb = 64
;; expect: 502 plugin_trapped
;; within_ms: 20000

(memory {memory} 1000)
(func {before}
    (i32.store8 (i32.const 308) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 2000))
    (i32.store (i32.const 316) (i32.const 2000000))
    (i32.const 300))
