;; case: 22
;; does: instantiates a module 900 times, which is more than a sandbox has room for
;; when: upload
;; expect: 422 compile_failed
;; within_ms: 20000

(component
    (core module $m)
{repeat 900}    (core instance (instantiate $m))
{end})
