;; case: 6
;; does: begins with a table of ten million elements
;; when: upload
;; expect: 422 over_limits
;; says: 10000000 elements
;; within_ms: 20000

(table 10000000 funcref)
