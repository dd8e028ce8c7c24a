;; case: 11
;; does: answers with a step that there is not
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before} (i32.store8 (i32.const 304) (i32.const 7)) (i32.const 300))
