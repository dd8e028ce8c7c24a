;; case: 22
;; does: imports 20,000 functions
;; when: upload
;; expect: 422 over_limits
;; says: imports
;; within_ms: 20000

(component
{repeat 20000}    (import "f{i}" (func))
{end})
