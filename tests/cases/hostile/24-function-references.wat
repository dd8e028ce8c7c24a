;; case: 24
;; does: uses a proposal that is off: typed references to functions
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))))
