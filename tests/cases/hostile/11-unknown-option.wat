;; case: 11
;; does: describes itself with a schema that is neither there nor not
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(data (i32.const 36) "\02")
(func {describe} (i32.const 16))
