;; case: 23
;; does: has a function with 49,000 locals, for which a compiler took a minute
;; when: upload
;; expect: 422 over_limits
;; says: locals
;; within_ms: 20000

(component (core module (func (local
{repeat 49000} i32{end}))))
