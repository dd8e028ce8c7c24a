;; case: 23
;; does: has a branch with 300,000 targets
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(component (core module (func (param i32) (block (br_table
{repeat 300000} 0{end} (local.get 0))))))
