;; case: 23
;; does: brings ten megabytes that nobody reads
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(component (core module
{repeat 10}(@custom "notes" "{mebibyte}"){end}))
