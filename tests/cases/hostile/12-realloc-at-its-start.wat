;; case: 12
;; does: has the host write its configuration beyond its memory
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(func {realloc} (i32.const -16))
