;; case: 22
;; does: is made of 1,000 core modules
;; when: upload
;; expect: 422 over_limits
;; says: core modules
;; within_ms: 20000

(component
{repeat 1000}    (core module)
{end})
