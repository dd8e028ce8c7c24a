;; case: 22
;; does: is made of 1,000 components
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(component
{repeat 1000}    (component)
{end})
