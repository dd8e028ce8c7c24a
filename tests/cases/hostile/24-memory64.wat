;; case: 24
;; does: uses a proposal that is off: memories of 64 bits
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (memory i64 1)))
