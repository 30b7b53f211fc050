! A program of somebody else's in Fortran. It asks for a manager that is not there.
program consumer
  use sublet_f08
  implicit none
  type(sublet_options) :: options
  type(sublet_session) :: session
  if (sublet_options_set(options, 'manager', 'unix:/nonexistent/sublet.sock') /= 0) stop 1
  if (sublet_options_set(options, 'allow_private', 'false') /= 0) stop 1
  if (sublet_session_open(session, options) == sublet_success) stop 1
  print '(a)', sublet_last_error()
  if (index(sublet_last_error(), '/nonexistent') == 0) stop 1
end program consumer
