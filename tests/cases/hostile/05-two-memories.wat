;; case: 5
;; does: has a module with two memories, for which a sandbox has no room
;; when: upload
;; expect: 422 compile_failed
;; within_ms: 20000

(memory 1)
