;; case: 23
;; does: begins with 20 MiB of data
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(component (core module (memory 400)
{repeat 20}(data (i32.const 0) "{mebibyte}"){end}))
