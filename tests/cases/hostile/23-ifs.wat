;; case: 23
;; does: has a function of a megabyte of branches
;; when: upload
;; expect: 422 over_limits
;; says: bytes in one function
;; within_ms: 20000

(component (core module (func (param i32)
{repeat 150000}(if (local.get 0) (then)){end})))
