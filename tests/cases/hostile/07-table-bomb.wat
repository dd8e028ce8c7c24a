;; case: 7
;; does: grows its table until it can't
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(table $t 1 funcref)
(func {before}
    (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    ;; A sandbox has room for 20,000 elements.
    (if (i32.gt_u (table.size $t) (i32.const 20000)) (then (loop br 0)))
    unreachable)
