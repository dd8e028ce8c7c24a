;; case: 22
;; does: has a core module with 20,000 imports
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(component (core module
{repeat 20000}    (import "m" "f{i}" (func))
{end}))
