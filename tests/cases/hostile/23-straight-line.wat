;; case: 23
;; does: has a function of seven megabytes, for which a compiler took 43 seconds and 3.7 GB
;; when: upload
;; expect: 422 over_limits
;; says: bytes in one function
;; within_ms: 20000

(component (core module (func (param i32)
{repeat 600000}(drop (i32.mul (local.get 0) (i32.const {i}))){end})))
