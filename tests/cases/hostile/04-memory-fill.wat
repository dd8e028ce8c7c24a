;; case: 4
;; does: fills all memory that it may have, again and again; the clock is looked at between two fills
;; when: predict
;; sandbox: timeout_ms = 300, memory_mb = 256
;; expect: 504 plugin_deadline
;; within_ms: 20000

(memory {memory} 1)
(func {before}
    (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (loop
        (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
        (br 0))
    unreachable)
