;; case: 11
;; does: answers with a text that is none
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(data (i32.const 400) "\ff\fe")
(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
