"""A page on loopback that shows searches while they run; it reads their files and changes nothing."""
