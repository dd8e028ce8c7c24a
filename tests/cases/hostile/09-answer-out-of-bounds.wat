;; case: 9
;; does: answers with a text beyond its memory
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 65000))
    (i32.store (i32.const 316) (i32.const 100000))
    (i32.const 300))
