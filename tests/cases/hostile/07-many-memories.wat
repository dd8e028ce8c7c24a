;; case: 7
;; does: has more memories than a sandbox
;; when: upload
;; expect: 422 over_limits
;; says: memories
;; within_ms: 20000

{repeat 5}(memory 1)
{end}
