;; case: 7
;; does: has more tables than a sandbox
;; when: upload
;; expect: 422 compile_failed
;; within_ms: 20000

{repeat 40}(table 10 funcref)
{end}
