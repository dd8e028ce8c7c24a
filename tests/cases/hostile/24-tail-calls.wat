;; case: 24
;; does: uses a proposal that is off: calls in place of a return
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (func $f return_call $f)))
