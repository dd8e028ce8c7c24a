;; case: 5
;; does: takes memory until there is none
;; when: predict
;; sandbox: memory_mb = 16
;; expect: 502 plugin_out_of_memory
;; says: 16 MiB
;; within_ms: 20000

(func {before}
    (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    unreachable)
