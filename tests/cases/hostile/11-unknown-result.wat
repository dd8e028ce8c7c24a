;; case: 11
;; does: answers with something between well and not well
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before} (i32.store8 (i32.const 300) (i32.const 2)) (i32.const 300))
