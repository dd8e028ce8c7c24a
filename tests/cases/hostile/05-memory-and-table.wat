;; case: 5
;; does: takes nearly all that it may have as memory, and then a table: both count together
;; when: predict
;; sandbox: memory_mb = 16, timeout_ms = 1000
;; expect: 502 plugin_out_of_memory
;; within_ms: 20000

(table $t 1 20000 funcref)
(func {before}
    ;; 255 of the 256 pages of 16 MiB, and then 120,000 bytes.
    (if (i32.eq (memory.grow (i32.const 254)) (i32.const -1)) (then (loop br 0)))
    (if (i32.ne (table.grow $t (ref.null func) (i32.const 15000)) (i32.const -1)) (then (loop br 0)))
    unreachable)
