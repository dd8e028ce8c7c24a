;; case: 9
;; does: returns a place beyond its memory
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before} (i32.const -8))
