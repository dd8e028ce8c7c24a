;; case: 24
;; does: uses a proposal that is off: vector instructions that differ between machines
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (func (param v128) (drop (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))))
