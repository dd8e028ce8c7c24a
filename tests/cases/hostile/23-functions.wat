;; case: 23
;; does: has 200,000 functions
;; when: upload
;; expect: 422 over_limits
;; says: 200000 functions
;; within_ms: 20000

(component (core module
{repeat 200000}(func){end}))
